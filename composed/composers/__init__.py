"""The composers, one file a corpus, found by name: a class `Composer` of `composed.composer.Composer`. Add one here."""
