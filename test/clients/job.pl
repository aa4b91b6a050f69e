# The job of job.js for drivers in Perl; arguments and output are the same. A driver
# gives run a function a step, and next, which returns the next event.
use strict;
use warnings;
use JSON::PP;

our ($host, $port, $user, $secret, $channel) = @ARGV;
our %originate = (Action => 'Originate', Channel => $channel, Context => 'clients', Exten => 'job', Priority => 1, Async => 'true');
our $command = 'core show channeltypes';

my $limit = 20; # Seconds for one step. Only a step that fails waits it out.
my @seen;       # [name, channel] of every event of the call.

# event takes an event that the library showed.
sub event {
    my ($e) = @_;
    return unless defined $e->{Event} && index($e->{Channel} // '', "$channel-") == 0;
    push @seen, [$e->{Event}, $e->{Channel}];
}

# items reads the events of a list up to its end.
sub items {
    my ($next) = @_;
    my @items;
    while (1) {
        my $e = $next->();
        return {items => \@items, end => $e} if ($e->{EventList} // '') eq 'Complete';
        push @items, $e if ($e->{Event} // '') eq 'CoreShowChannel';
    }
}

sub run {
    my (%steps) = @_;
    $| = 1;
    my $json = JSON::PP->new->canonical;
    $steps{events} = sub {
        event($steps{next}->()) until 2 == grep { $_->[0] eq 'Hangup' } @seen;
        return \@seen;
    };
    for my $step (qw(login ping list command originate events logoff)) {
        my $saw = eval {
            local $SIG{ALRM} = sub { die "not done in time\n" };
            alarm $limit;
            $steps{$step}->();
        };
        my $why = $@;
        alarm 0;
        chomp $why;
        print $json->encode($why eq '' ? {step => $step, ok => JSON::PP::true, saw => $saw} : {step => $step, ok => JSON::PP::false, why => $why}), "\n";
        last if $why ne '' && $step eq 'login';
    }
}

1;
