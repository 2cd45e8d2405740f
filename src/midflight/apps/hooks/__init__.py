"""`/hooks/<channel>` of the gateway: what comes back from the channels that tell people."""
