"""What the app does, without pages: jobs, drawings, datasets. Each service owns its transactions."""
