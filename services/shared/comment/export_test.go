package comment

// Ignorable is ignorable, for the test that compares it with Unicode's own list.
var Ignorable = ignorable
