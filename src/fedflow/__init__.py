"""FedFlow: private picture collections, one jointly trained image-generation model."""

__version__ = "0.1.0"
