package bench
import "context"
func channels(ctx context.Context, b *bench) (Result, error) { return Result{}, nil }
func stalled(ctx context.Context, b *bench) (Result, error) { return Result{}, nil }
func storm(ctx context.Context, b *bench) (Result, error) { return Result{}, nil }
