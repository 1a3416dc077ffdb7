"""Settings: everything that YAML may say, as strict models; what defines a result, and what is only a manner."""
