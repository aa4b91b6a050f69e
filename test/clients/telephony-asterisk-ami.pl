use strict;
use warnings;
use FindBin;
use Telephony::Asterisk::AMI;
require "$FindBin::Bin/job.pl";

our ($host, $port, $user, $secret, %originate, $command);

my $ami = Telephony::Asterisk::AMI->new(
    Host => $host, Port => $port, Username => $user, Secret => $secret, Event_Callback => \&event);

sub action {
    my $res = $ami->action(@_);
    die "$res->{Message}\n" if $res->{Response} eq 'Error';
    return $res;
}

# The library's own way to read an event, which may also be an error.
sub read_event {
    my $e = $ami->read_response;
    die "$e->{Message}\n" if ($e->{Response} // '') eq 'Error' && !defined $e->{Event};
    return $e;
}

run(
    login => sub { $ami->connect or die $ami->error . "\n"; return $ami->{protocol} },
    ping => sub { return action(Action => 'Ping') },
    list => sub { action(Action => 'CoreShowChannels'); return items(\&read_event) },
    command => sub {
        my $res = action(Action => 'Command', Command => $command);
        return {response => $res, output => $res->{Output}};
    },
    originate => sub { return action(%originate) },
    next => \&read_event,
    logoff => sub { $ami->disconnect or die $ami->error . "\n"; return 'logged off' },
);
