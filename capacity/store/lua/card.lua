#!lua
-- A payment at the test card's bank.
-- KEYS[1]   the payment
-- ARGV[1]   what is done: prepare, proceed, confirm, refuse or cancel   ARGV[2] how long it is remembered, ms
-- ARGV[3…]  for prepare: account, amount, currency, card
-- Reply     prepared · paid · declined · awaiting · canceled · unknown: how the payment stands now
local MOVES = {
    proceed = {prepared = {good = 'paid', declined = 'declined', confirm = 'awaiting'}},
    confirm = {awaiting = {confirm = 'paid'}},
    refuse = {awaiting = {confirm = 'declined'}},
    cancel = {prepared = 'canceled', awaiting = 'canceled'},
}
local call = redis.call
if ARGV[1] == 'prepare' then
    call('HSET', KEYS[1], 'account', ARGV[3], 'amount', ARGV[4], 'currency', ARGV[5], 'card', ARGV[6], 'status', 'prepared')
    call('PEXPIRE', KEYS[1], ARGV[2])
    return 'prepared'
end
local status, card = unpack(call('HMGET', KEYS[1], 'status', 'card'))
if not status then
    return 'unknown'
end
local move = MOVES[ARGV[1]][status]
local becomes = type(move) == 'table' and move[card] or type(move) == 'string' and move or status
call('HSET', KEYS[1], 'status', becomes)
return becomes
