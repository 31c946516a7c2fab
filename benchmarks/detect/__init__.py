"""Quality of judging on labelled data: the production engine with production defaults, one row at a time."""
