"""Leadership over any engine: tenure (PURE), keeper, campaign, election, connect."""
