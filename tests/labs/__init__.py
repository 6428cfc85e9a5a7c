"""Solutions of the labs, wrong and right, that the grader must judge as a person would."""
