"""Scores of generated pictures: FID, KID with its interval, the real-versus-real floor, extractors, charts, reports.

Imported module by module: charts and tables need no torch.
"""
