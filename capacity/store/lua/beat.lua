#!lua flags=allow-oom
-- A hub says that it lives, and sees what the others say.
-- KEYS[1]   the beats
-- ARGV[1]   the hub
-- Reply     hub, counter, for each
redis.call('HINCRBY', KEYS[1], ARGV[1], 1)
return redis.call('HGETALL', KEYS[1])
