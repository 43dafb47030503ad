"""Images with nuclei masks, in the layouts people publish and keep them in, made into one.

::

    tcia        N_crop.png + N_labeled_mask_corrected.png
    monuseg     TCGA-*.tif + TCGA-*.xml, outlines of Aperio ImageScope
    pannuke     images.npy + masks.npy, a fold each
    nuinsseg    <organ>/tissue images/*.png + <organ>/label masks modify/*.tif
    consep      train_N.png + train_N.mat, whole or tiled
    dsb2018     <id>/images/<id>.png + <id>/masks/*.png, one per nucleus
    lizard      glas_N.png and the like + glas_N.mat
    tnbc        Slide_NN/NN_k.png + GT_NN/NN_k.png
    cryonuseg   tissue images/*.tif + label masks modify/*.tif
    plain       images/ + masks/ (labels/, instances/, annotations/), or X.png + X_mask.png
"""

from scope_sr.build_dataset.masks.case import Case, Layout, Read
from scope_sr.build_dataset.masks.layouts import find_layout
from scope_sr.build_dataset.masks.reading import read_case
from scope_sr.build_dataset.masks.writing import write_case

__all__ = ["Case", "Layout", "Read", "find_layout", "read_case", "write_case"]
