"""From files of other projects to ours: facts that layouts share, keys renamed, options derived."""
