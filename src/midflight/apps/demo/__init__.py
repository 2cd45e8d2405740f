"""`midflight demo`: the main job on real servers, in about half a minute, without a network."""
