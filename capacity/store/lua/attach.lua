#!lua flags=allow-oom
-- A hub may act on the room from now on. A hub that knew the room brings back what the store has lost of it.
-- ARGV[2]   1: the hub knew the room as open, 0: it did not
-- ARGV[3]   for how long (ms) hubs re-assert who was there before anybody new is let in, if something was lost
-- ARGV[4]   the epoch that the hub knew, '' for none   ARGV[5] its revision in that epoch
local reply = enter('ordered')
if reply then
    return reply
end
local known, here = generation(ARGV[4]), generation(room.epoch)
-- An epoch is GENERATION:ID. A hub knows of a later generation, or of another one of the same number, or of a later revision of the
-- same one: then this is not the history that it was told of.
local lost = ARGV[4] ~= '' and (known > here or known == here and (ARGV[4] ~= room.epoch or tonumber(ARGV[5]) > room.revision))
if lost then
    if room.state ~= 'open' and ARGV[2] == '1' then
        sessions = math.huge
        begin()
    end
    here = math.max(known, here) + 1
    room.survived = room.revision
    room.epoch = here .. ':' .. hub .. '.' .. digits(context.operation)
    room.revision, room.sequence = here * GENERATION, here * GENERATION
    if room.state == 'open' then
        room.settling_at = now + tonumber(ARGV[3])
    end
    changed = true
end
if room.state == 'ended' then
    return answer()
end
call('HSETNX', HUBS, hub, 0)
if room.state == 'not_started' then
    call('PEXPIRE', HUBS, DAY_MS)
end
close_behind('')
return answer()
