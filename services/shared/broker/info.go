package broker

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"
)

// Info is what Redis says of itself. What it does not say is nil.
type Info struct {
	Version  string
	Memory   *uint64  // bytes
	Channels *uint64  // that somebody is subscribed to, those of others included
	Commands *uint64  // since it started
	CPU      *float64 // seconds since it started
}

// sections are those parts of what Redis says of itself that Info needs. The embedded one has only some of them.
var sections = []string{"server", "memory", "stats", "cpu"}

// Info asks Redis for figures of its own. Nothing depends on them: where Redis refuses for want of rights, or does not know them,
// they are unknown and the error is nil.
func (b *Broker) Info(ctx context.Context) (info Info, err error) {
	values := map[string]string{}
	answers, err := b.redis.Pipelined(ctx, func(p redis.Pipeliner) error {
		for _, section := range sections {
			p.Info(ctx, section)
		}
		return nil
	})
	var refused redis.Error
	if err != nil && !errors.As(err, &refused) {
		return info, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	for _, answer := range answers {
		for lines := bufio.NewScanner(strings.NewReader(answer.(*redis.StringCmd).Val())); lines.Scan(); {
			if name, value, found := strings.Cut(lines.Text(), ":"); found {
				values[name] = value
			}
		}
	}
	info = Info{
		Version: values["redis_version"], Memory: whole(values["used_memory"]),
		Channels: whole(values["pubsub_channels"]), Commands: whole(values["total_commands_processed"]),
	}
	system, errSystem := strconv.ParseFloat(values["used_cpu_sys"], 64)
	user, errUser := strconv.ParseFloat(values["used_cpu_user"], 64)
	if errSystem == nil && errUser == nil {
		sum := system + user
		info.CPU = &sum
	}
	return info, nil
}

// whole is the number that text is, nil where it is none.
func whole(text string) *uint64 {
	number, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return nil
	}
	return &number
}
