"""The process that draws and trains."""
