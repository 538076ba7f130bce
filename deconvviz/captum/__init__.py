"""deconvviz as attribution methods of Captum, and Captum's methods beside it."""
