package process

import "github.com/prometheus/procfs"

// Private is the memory that the process has for itself, in bytes: what is resident, but for the program, which all processes
// of one program share.
func (p *Process) Private() (int, error) {
	proc, err := procfs.NewProc(p.command.Process.Pid)
	if err != nil {
		return 0, err
	}
	status, err := proc.NewStatus()
	return int(status.RssAnon), err //nolint:gosec // no process has so much
}
