"""deconvviz as attribution methods of Captum."""
