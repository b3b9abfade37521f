package experiment

import (
	"fmt"
	"math"

	"github.com/livecomments/livecomments/services/lab/goal"
	"github.com/livecomments/livecomments/services/shared/placement"
	"github.com/livecomments/livecomments/services/shared/reports"
)

// goals are what the experiment requires of what it has measured.
func (o *Output) goals() []goal.Goal {
	goals := []goal.Goal{o.deliveryGoal(), o.settledGoal()}
	goals = append(goals, o.shareGoals()...)
	for i := range o.Fleets {
		goals = append(goals, o.boundedGoals(&o.Fleets[i])...)
	}
	for i := range o.Changes {
		goals = append(goals, o.Changes[i].goals()...)
	}
	return goals
}

// deliveryGoal is that every viewer got every comment, once and in order, whatever was done to the readers.
func (o *Output) deliveryGoal() goal.Goal {
	var all reports.Verification
	deliveries := int64(0)
	for i := range o.Fleets {
		all.Add(o.Fleets[i].Verification)
		deliveries += o.Fleets[i].LatencyMillis.Count
	}
	for i := range o.Changes {
		all.Add(o.Changes[i].Verification)
		deliveries += o.Changes[i].LatencyMillis.Count
	}
	says := fmt.Sprintf("of %s deliveries, %d were lost, %d duplicate, %d out of order", thousands(float64(deliveries)), all.Missing, all.Duplicates, all.Misordered)
	if err := all.Err(); err != nil && all.Missing+all.Duplicates+all.Misordered == 0 {
		says += "; " + err.Error()
	}
	return goal.Goal{Says: says, Met: all.Err() == nil, Delivery: true}
}

// settledGoal is that viewers were where they belong when fleets were measured, and after every change.
func (o *Output) settledGoal() goal.Goal {
	astray, unsettled := 0.0, 0
	for i := range o.Fleets {
		astray = max(astray, o.Fleets[i].Astray)
	}
	for i := range o.Changes {
		if !o.Changes[i].Settled {
			unsettled++
		}
	}
	return goal.Goal{
		Says: fmt.Sprintf("at most %.0f of %d viewers were not where they belong when a fleet was measured (at most 1 %%), and after %d of %d changes all came there",
			astray, o.Viewers, len(o.Changes)-unsettled, len(o.Changes)),
		Met: astray <= 0.01*float64(o.Viewers) && unsettled == 0,
	}
}

// shareGoals are that the system does what the simulation says.
func (o *Output) shareGoals() []goal.Goal {
	largest, compared := 0.0, 0
	for i := range o.Fleets {
		if f := &o.Fleets[i]; f.Simulated != nil {
			largest = max(largest, math.Abs(f.Share.Mean-f.Simulated.Share))
			compared++
		}
	}
	if compared == 0 {
		return nil
	}
	return []goal.Goal{{
		Says: fmt.Sprintf("in %d fleets the measured share differs from the simulated by %.1f points at most (at most 3)", compared, 100*largest),
		Met:  largest <= 0.03,
	}}
}

// boundedGoals are those of a fleet under bounded loads.
func (o *Output) boundedGoals(f *Fleet) (goals []goal.Goal) {
	if f.Routing != placement.Bounded {
		return nil
	}
	of := fmt.Sprintf("bounded, %d readers, %s", f.Readers, f.Popularity)
	// The bounds are for the scene of 5 readers, two of which hold a celebrity: that makes 1.3 copies, give or take which comments are
	// its own. With more readers it needs more of them.
	if f.Readers == 5 && o.Videos == 100 && o.Viewers == 1000 {
		goals = append(goals, goal.Goal{
			Says: fmt.Sprintf("%s: %.2f copies of a comment (at most 1.35), share %s (at most 30 %%), busiest reader %.2f × the mean (at most 1.3)",
				of, f.CopiesPerComment, percent(f.Share.Mean), f.Busiest),
			Met: f.CopiesPerComment <= 1.35 && f.Share.Mean <= 0.3 && f.Busiest <= 1.3,
		})
	}
	for i := range o.Fleets {
		random := &o.Fleets[i]
		if random.Routing == placement.Random && !random.Proxy && random.Readers == f.Readers && random.Popularity == f.Popularity {
			ratio := f.CPU.total() / random.CPU.total()
			goals = append(goals, goal.Goal{
				Says: fmt.Sprintf("%s: processor time for a delivery is %.2f × that of random (at most 1.1)", of, ratio), Met: ratio <= 1.1,
			})
		}
	}
	return goals
}

// savedUp is what a reader may move in a second, of what it may on average: what it has not moved for a quarter of a second it
// may move later.
const savedUp = 1.25

// goals are that streams are moved at no more than the rate that the readers are allowed.
func (c *Change) goals() []goal.Goal {
	if c.Moved == 0 {
		return nil
	}
	most := savedUp*c.MoveBound + 1
	return []goal.Goal{{
		Says: fmt.Sprintf("%s, %d to %d: %.1f streams were moved in a second at most (at most %.1f: MOVE_RATE allows %.1f, and a quarter more at once)",
			c.Name, c.From, c.To, c.PeakMoved, most, c.MoveBound),
		Met: c.PeakMoved <= most,
	}}
}
