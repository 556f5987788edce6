"""The network itself: Faster R-CNN in torch, as one static graph, with its weights."""
