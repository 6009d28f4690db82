#!lua
-- Brings back an account that the store lost, as a hub knew it. An account that exists is left alone.
-- KEYS[1]   the account
-- ARGV      its fields and values
-- Reply     1 if it was brought back
if redis.call('EXISTS', KEYS[1]) == 1 then
    return 0
end
redis.call('HSET', KEYS[1], unpack(ARGV))
return 1
