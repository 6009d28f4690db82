#!lua flags=no-writes
-- A room in numbers, as it is, for `capacity top`; nothing that is due is done.
-- KEYS[1]   state of the room, KEYS[2] people, KEYS[3] line, KEYS[4] holds, KEYS[5] seat_away, KEYS[6] met
-- Reply     state, seat limit, peak, told, opened at (nil for what is not there), then how many are in each of the other keys
local counts = redis.call('HMGET', KEYS[1], 'state', 'seat_limit', 'peak', 'told', 'opened_at')
counts[6] = redis.call('HLEN', KEYS[2])
counts[7] = redis.call('ZCARD', KEYS[3])
counts[8] = redis.call('ZCARD', KEYS[4])
counts[9] = redis.call('ZCARD', KEYS[5])
counts[10] = redis.call('HLEN', KEYS[6])
return counts
