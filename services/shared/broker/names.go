package broker

import (
	"regexp"
	"strings"

	"github.com/livecomments/livecomments/services/shared/config"
)

// names spells the channels and keys of one installation. Everything in Redis that belongs to it has its name from here.
//
// Redis keeps the keys of its databases apart, but not their channels, so the number of the database stands in the name:
//
//	database  prefix  channel of video v   its history                 the id of its newest message
//	0                 video:v              comments:{video:v}          comments:{video:v}:head
//	2                 @2/video:v           comments:{@2/video:v}       comments:{@2/video:v}:head
//	0         shop    shop/video:v         comments:{shop/video:v}     comments:{shop/video:v}:head
//	2         shop    shop@2/video:v       comments:{shop@2/video:v}   comments:{shop@2/video:v}:head
//
// The list of readers has its names likewise: readers:{fleet} in database 0, readers:{shop@2/fleet}, and the same with :sent
// and :secret after it.
//
// No two installations share a name, because neither "@" nor "/" can be in a prefix or in a video's id. The braces put the
// keys into the Redis Cluster slot of their video's channel.
type names struct{ namespace string }

// prefixes are the prefixes that an installation can have. They hold nothing that is special in a glob pattern.
var prefixes = regexp.MustCompile(`^[A-Za-z0-9._-]{0,64}$`)

func newNames(prefix, database string) (names, error) {
	if !prefixes.MatchString(prefix) {
		return names{}, config.Errorf("REDIS_PREFIX=%s must be up to 64 characters of A-Z a-z 0-9 . _ -", prefix)
	}
	namespace := prefix
	if database != "0" {
		namespace += "@" + database
	}
	if namespace != "" {
		namespace += "/"
	}
	return names{namespace}, nil
}

const channelPrefix = "video:"

// channel is the Pub/Sub channel on which a video's messages are published.
func (n names) channel(videoID string) string { return n.namespace + channelPrefix + videoID }

// video is the inverse of channel.
func (n names) video(channel string) string {
	return strings.TrimPrefix(channel, n.namespace+channelPrefix)
}

// channels is the pattern that matches every video's channel.
func (n names) channels() string { return n.namespace + channelPrefix + "*" }

// history is the stream that holds a video's recent messages.
func (n names) history(videoID string) string { return "comments:{" + n.channel(videoID) + "}" }

// head is the string that holds the id of a video's newest message.
func (n names) head(videoID string) string { return n.history(videoID) + ":head" }

// fleet is the keys of the list of readers: their entries, how many viewers were sent to each, and the secret that they share.
func (n names) fleet() []string {
	entries := "readers:{" + n.namespace + "fleet}"
	return []string{entries, entries + ":sent", entries + ":secret"}
}
