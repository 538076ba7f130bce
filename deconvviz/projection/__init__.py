"""The way back: from units of a layer to pixels, on whole maps or on crops."""
