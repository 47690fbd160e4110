package processors

import (
	"fmt"
	"log/slog"
	"strings"
)

// gokaLog lets goka write to a slog logger. goka reports each step of each rebalance as a plain line, which only somebody
// who debugs the runtime wants to see; what operators need is logged where it is decided.
type gokaLog struct{ log *slog.Logger }

func (l gokaLog) Print(args ...any)                 { l.log.Debug(strings.TrimSpace(fmt.Sprint(args...))) }
func (l gokaLog) Println(args ...any)               { l.log.Debug(strings.TrimSpace(fmt.Sprintln(args...))) }
func (l gokaLog) Printf(format string, args ...any) { l.log.Debug(fmt.Sprintf(format, args...)) }
