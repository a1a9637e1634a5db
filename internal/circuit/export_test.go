package circuit

import "reflect"

// BlankIsWritten reports whether a circuit has written to the memory that it
// shares with others.
func BlankIsWritten() bool { return !reflect.DeepEqual(blank, memory{failedAt: never, probing: never}) }
