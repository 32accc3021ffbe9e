"""``explain.html``: who answers for each box, and why objects were missed."""
