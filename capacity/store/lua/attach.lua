#!lua flags=allow-oom
-- A hub may act on the room from now on. A hub that knew the room brings back what the store has lost of it.
-- ARGV[2]   1: the hub knew the room as open, 0: it did not
-- ARGV[3]   the epoch that the hub knew, '' for none   ARGV[4] its revision in that epoch
local reply = enter('ordered')
if reply then
    return reply
end
-- Whether the hub was told more than there is in the history of EPOCH, GENERATION:ID, up to REVISION: of a later generation, of another
-- one of the same number, or of a later revision of the same one.
local heard = generation(ARGV[3])
local function lacks(epoch, revision)
    local here = generation(epoch)
    return heard > here or heard == here and (ARGV[3] ~= epoch or tonumber(ARGV[4]) > revision)
end
if ARGV[3] ~= '' then
    local lost = lacks(room.epoch, room.revision)
    local reopen = ARGV[2] == '1' and room.state ~= 'open' and (lost or room.past ~= nil and lacks(room.past, room.survived))
    if reopen then
        sessions = math.huge
        begin()
    end
    if lost or reopen then
        begin_generation(heard)
    end
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
