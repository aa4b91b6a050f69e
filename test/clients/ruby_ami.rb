# The job of job.js with RubyAMI; arguments and output are the same.
require 'json'
require 'timeout'
require 'ruby_ami'

LIMIT = 20 # Seconds for one step. Only a step that fails waits it out.

host, port, user, secret, channel = ARGV
$stdout.sync = true
Celluloid.logger = nil

booted, hung_up, closed = Queue.new, Queue.new, Queue.new
seen = []
event = lambda do |e|
  case e.name
  when 'FullyBooted' then booted << true
  when 'RubyAMI::Stream::Disconnected' then closed << true
  else
    next unless e.respond_to?(:headers) && e['Channel'].to_s.start_with?(channel + '-')
    seen << [e.name, e['Channel']]
    hung_up << true if seen.count { |name, _| name == 'Hangup' } == 2
  end
end
stream = RubyAMI::Stream.new host, port.to_i, user, secret, event, Logger.new(IO::NULL), LIMIT

steps = {
  login: lambda do
    stream.async.run
    booted.pop # The library's README: no action may be sent earlier.
    stream.version
  end,
  ping: -> { stream.send_action('Ping').headers },
  list: lambda do
    events = stream.send_action('CoreShowChannels').events
    last = events.pop
    { items: events.map(&:headers), end: last.headers }
  end,
  command: lambda do
    res = stream.send_action 'Command', 'Command' => 'core show channeltypes'
    { response: res.headers, output: res.text_body || res['Output'] }
  end,
  originate: lambda do
    stream.send_action('Originate', 'Channel' => channel, 'Context' => 'clients',
                                    'Exten' => 'job', 'Priority' => 1, 'Async' => 'true').headers
  end,
  events: lambda do
    hung_up.pop
    seen
  end,
  logoff: lambda do
    res = stream.send_action 'Logoff'
    closed.pop
    res.headers
  end
}

steps.each do |name, step|
  begin
    puts JSON.generate(step: name, ok: true, saw: Timeout.timeout(LIMIT) { step.call })
  rescue StandardError => e
    puts JSON.generate(step: name, ok: false, why: e.message)
    break if name == :login
  end
end
exit! true # Without waiting for what is left of the actors.
