"""``article.html``: the claims of the article, and what they come to on these data."""
