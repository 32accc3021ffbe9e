"""Which recipe for small data sets wins: its sets, its jobs, its table. See search_recipe.py."""
