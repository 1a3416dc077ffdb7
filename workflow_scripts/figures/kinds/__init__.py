"""One file for each kind of figure, with a class `Figure` made from `workflow_scripts.figures.interface.FigureKind`."""
