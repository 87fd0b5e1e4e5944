"""Sign-in with an OpenID Connect provider: who somebody is, as the provider says, and what that one may do here, as a file says."""
