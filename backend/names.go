package backend

import (
	"time"

	"go.uber.org/zap"

	"github.com/amiproxy/amiproxy/ami"
	"github.com/amiproxy/amiproxy/internal/owned"
)

const (
	// maxNames bounds how many channels of a PBX are known, and how many of its
	// other things.
	maxNames = 200_000
	// listNamesAgain is when a listing that failed is tried again.
	listNamesAgain = 5 * time.Second
)

// Names are those that the PBX has given out to its channels, bridges and so
// on. They are complete some moments after the PBX came up, and stay known
// while it is away.
func (b *Backend) Names() *owned.Index { return b.names }

// nameLists are the actions that list what has a name.
var nameLists = []string{"CoreShowChannels", "BridgeList", "ConfbridgeListRooms", "MeetmeListRooms", "ParkedCalls"}

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
				if a.Err != nil {
					b.log.Warn("the names on the PBX are not known: actions that name no Server and are about them are refused to those who see several PBXes; trying again",
						zap.String("action", name), zap.Error(a.Err))
					failed = true
				}
				switch last := i == len(actions)-1; {
				case last && failed:
					b.listNamesLater()
				case last:
					listing.Done()
				}
			},
		})
		if err != nil {
			b.listNamesLater()
			return
		}
	}
}

func (b *Backend) listNamesLater() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.namesDue = time.Now().Add(listNamesAgain)
}
