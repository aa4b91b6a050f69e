package backend

import (
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/amiproxy/amiproxy/ami"
	"github.com/amiproxy/amiproxy/internal/owned"
)

const (
	// maxNames bounds how many channels of a PBX are known, and how many of its
	// other things.
	maxNames = 200_000
	// listNamesAgain is when a listing that failed is tried again, and later and
	// later the more often it fails: a list can be a burden to the PBX.
	listNamesAgain, listNamesSeldom = 5 * time.Second, 5 * time.Minute
)

// Names are those that the PBX has given out to its channels, bridges and so
// on. They are complete some moments after the PBX came up, and stay known
// while it is away.
func (b *Backend) Names() *owned.Index { return b.names }

// nameLists are the actions that list what has a name.
var nameLists = []string{"CoreShowChannels", "BridgeList", "ConfbridgeListRooms", "MeetmeListRooms"}

// listNames asks the PBX for all that has a name.
func (b *Backend) listNames() {
	authority := b.Authority()
	var actions []string
	for _, name := range nameLists {
		if _, ok := authority.Class(name); ok {
			actions = append(actions, name)
		} else if name == "CoreShowChannels" {
			actions = append(actions, "Status") // Asterisk 1.4
		}
	}
	listing := b.names.List()
	failed := false
	for i, name := range actions {
		err := b.house.Do(Request{
			Action: ami.NewAction("Action: " + name),
			Done: func(a Answer) { // one after the other, in their order
				for f := range a.Frames() {
					listing.Add(f)
				}
				if err := listError(name, a); err != nil {
					b.log.Warn("the names on the PBX are not known: actions that name no Server and are about them are refused to those who see several PBXes; trying again",
						zap.String("action", name), zap.Error(err))
					failed = true
				}
				switch last := i == len(actions)-1; {
				case last && failed:
					b.listNamesLater()
				case last:
					listing.Done()
					b.namesListed()
				}
			},
		})
		if err != nil {
			b.listNamesLater()
			return
		}
	}
}

// listError says why the answer to one of nameLists is no list. Where there is no
// conference, the PBX answers with an Error (app_confbridge.c, app_meetme.c).
func listError(name string, a Answer) error {
	if a.Err != nil || !ami.Frame(a.Bytes).Fails() || name == "ConfbridgeListRooms" || name == "MeetmeListRooms" {
		return a.Err
	}
	message, _ := ami.Frame(a.Bytes).Get("Message")
	return fmt.Errorf("refused: %.100q", message)
}

func (b *Backend) namesListed() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.namesDelay = 0
}

func (b *Backend) listNamesLater() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.namesDelay = min(max(2*b.namesDelay, listNamesAgain), listNamesSeldom)
	b.namesDue = time.Now().Add(b.namesDelay)
}
