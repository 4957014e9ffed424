"""How a job runs and what befalls it: no result depends on these modules, so no fingerprint reaches them."""
