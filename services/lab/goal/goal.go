// Package goal is about what measurements require.
package goal

import (
	"errors"
	"strings"
)

// Goal is a requirement, and whether it was met.
type Goal struct {
	Says string `json:"says"`
	Met  bool   `json:"met"`
	// Delivery goals are about comments that did not arrive as they should: the run fails when one is not met. Other goals
	// depend on the speed of the machine.
	Delivery bool `json:"delivery"`
}

// String says the goal and whether it was met.
func (g Goal) String() string {
	if g.Met {
		return "met: " + g.Says
	}
	return "NOT met: " + g.Says
}

// Failure says which goals of delivery were not met; it is nil where all were.
func Failure(goals []Goal) error {
	var broken []string
	for _, g := range goals {
		if g.Delivery && !g.Met {
			broken = append(broken, g.Says)
		}
	}
	if len(broken) > 0 {
		return errors.New(strings.Join(broken, "; "))
	}
	return nil
}
