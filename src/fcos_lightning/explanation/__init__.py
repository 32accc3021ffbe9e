"""Why a detector learns and finds what it does: who claims each point, what became of each box."""
