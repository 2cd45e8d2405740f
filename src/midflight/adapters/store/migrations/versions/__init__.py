"""Steps of the schema, oldest first. The last one's revision is `schema.REVISION`."""
