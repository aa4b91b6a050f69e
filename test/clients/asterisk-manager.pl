use strict;
use warnings;
use FindBin;
use Asterisk::Manager;
require "$FindBin::Bin/job.pl";

our ($host, $port, $user, $secret, %originate, $command);

my $manager = Asterisk::Manager->new;
$manager->user($user);
$manager->secret($secret);
$manager->host($host);
$manager->port($port);

# The library takes the next that comes for the answer, whatever it is.
sub send_action {
    my ($want, %action) = @_;
    my %res = $manager->sendcommand(%action);
    die "took event $res{Event} for the answer\n" if defined $res{Event};
    die "took another answer for this one\n" unless exists $res{$want};
    return \%res;
}

sub next_event {
    my %e = $manager->handleevent;
    die "the connection was closed\n" unless %e;
    return \%e;
}

run(
    login => sub { $manager->connect or die $manager->error; return $manager->{_PROTOVERS} },
    ping => sub { return send_action('Ping', Action => 'Ping') },
    list => sub { send_action('EventList', Action => 'CoreShowChannels'); return items(\&next_event) },
    command => sub {
        my $text = $manager->command($command);
        die "took another answer for this one\n" unless $text =~ /channel drivers/;
        return {response => $text, output => $text};
    },
    originate => sub { return send_action('Message', %originate) },
    next => \&next_event,
    logoff => sub {
        # Events that come after the call would be taken for the answer.
        my %res = $manager->sendcommand(Action => 'Events', EventMask => 'off');
        %res = $manager->handleevent until defined $res{Response};
        $manager->disconnect or die "no Goodbye\n";
        return 'logged off';
    },
);
