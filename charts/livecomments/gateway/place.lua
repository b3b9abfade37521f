-- Asks a reader where a viewer belongs, and has it taken there. Where no reader says, the viewer is hashed.

local timeout = 1000 -- milliseconds

-- Ids are of these characters alone, so they need no escape. What has others is for a reader to refuse.
local function isId(text)
  return text and #text <= 128 and text:match("^[%w._:-]+$")
end

local function serverOf(address)
  for name, server in pairs(core.backends["readers"].servers) do
    if server:get_addr() == address then
      return name
    end
  end
end

core.register_action("place", { "http-req" }, function(txn)
  local video, user, seen = txn:get_var("txn.video"), txn:get_var("txn.user"), txn:get_var("txn.seen")
  if not isId(video) or not isId(user) then
    return
  end
  local url = "http://127.0.0.1:8405/place?userid=" .. user .. "&videoid=" .. video
  if isId(seen) then
    url = url .. "&lastEventId=" .. seen
  end
  local answer = core.httpclient():get { url = url, timeout = timeout }
  if not answer or answer.status ~= 200 then
    return
  end
  local address = answer.body:match('"reader":"http://([^"/]+)"')
  local mark = answer.body:match('"mark":"([%w_-]+)"')
  if not address or not mark then
    return
  end
  txn:set_var("txn.mark", mark)
  local name = serverOf(address)
  if name then
    txn:set_var("txn.reader", name)
    return
  end
  local host, port = address:match("^%[?([%x.:]+)%]?:(%d+)$")
  txn:set_var("txn.address", host)
  txn:set_var("txn.port", port)
end)
