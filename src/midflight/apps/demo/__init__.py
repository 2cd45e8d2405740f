"""`midflight demo`: the main job on real servers, in about twenty seconds, without a network."""
