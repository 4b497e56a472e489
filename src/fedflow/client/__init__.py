"""The participant: its own pictures, its own key, its owner's consent, and one long-lived process that trains."""
