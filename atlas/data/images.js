atlas.receive("images", [0,4]);
