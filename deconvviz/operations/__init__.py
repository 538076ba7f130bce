"""What the library knows about each kind of operation, one file per kind.

Each file answers, for its operations: which calls it is; the mirror in each style, with the formula; which recorded
numbers that reads; how a window passes back through it; how it runs on crops; what it does with channels and samples.
"""

from deconvviz.operations import attention_and_recurrence as attention_and_recurrence  # each registers its operations
from deconvviz.operations import complex_numbers as complex_numbers
from deconvviz.operations import convolution as convolution
from deconvviz.operations import elementwise as elementwise
from deconvviz.operations import indexing as indexing
from deconvviz.operations import linear as linear
from deconvviz.operations import normalisation as normalisation
from deconvviz.operations import own_channels as own_channels
from deconvviz.operations import padding as padding
from deconvviz.operations import pooling as pooling
from deconvviz.operations import rectifiers as rectifiers
from deconvviz.operations import reductions as reductions
from deconvviz.operations import resampling as resampling
from deconvviz.operations import shapes as shapes
from deconvviz.operations import written_storage as written_storage
