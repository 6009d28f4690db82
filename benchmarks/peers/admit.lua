-- Seats a participant, or lines it up.
-- KEYS: seats (hash: id -> "1"), line (zset: id by turn), counter (the last turn given)
-- ARGV: id, how many seats there are
-- Returns {1, seats occupied} or {0, position in the line, from 1}.
local id = ARGV[1]
local occupied = redis.call('HLEN', KEYS[1])
if redis.call('HEXISTS', KEYS[1], id) == 1 then
  return {1, occupied}
end
if occupied < tonumber(ARGV[2]) then
  redis.call('HSET', KEYS[1], id, '1')
  return {1, occupied + 1}
end
redis.call('ZADD', KEYS[2], 'NX', redis.call('INCR', KEYS[3]), id)
return {0, redis.call('ZRANK', KEYS[2], id) + 1}
