package broker

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/twmb/franz-go/pkg/kfake"
)

// logAdapter hands the engine's messages to a slog.Logger. The engine calls every request informational, which is debug
// output for the users of this program.
type logAdapter struct{ to *slog.Logger }

// Logf implements [kfake.Logger].
func (a logAdapter) Logf(level kfake.LogLevel, format string, args ...any) {
	l := slog.LevelDebug
	switch level {
	case kfake.LogLevelError:
		l = slog.LevelError
	case kfake.LogLevelWarn:
		l = slog.LevelWarn
	}
	if ctx := context.Background(); a.to.Enabled(ctx, l) {
		a.to.Log(ctx, l, "embedded broker: "+fmt.Sprintf(format, args...))
	}
}
